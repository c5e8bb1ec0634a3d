"""Steps of loops.bue. Money is in cents."""


def shops():
    return [
        {"name": "north", "currency": "EUR", "stock": {"tea": 250, "cup": 900}},
        {"name": "south", "currency": "GBP", "stock": {"tea": 300}},
    ]


def rates():
    return {"EUR": 1.0, "GBP": 1.25}


def products(shop):
    """The list that the inner loop runs over."""
    return list(shop["stock"])


def price(shop, product, rates):
    cents = round(shop["stock"][product] * rates[shop["currency"]])
    return {"shop": shop["name"], "product": product, "euro_cents": cents}


def nothing():
    return []


def total(shops, rates, same_rates):
    assert rates == same_rates
    return sum(round(cents * rates[shop["currency"]]) for shop in shops for cents in shop["stock"].values())
