"""Steps of sql.bue."""


def orders():
    # The columns are the union of the keys; what a record lacks is NULL.
    return [
        {"id": 1, "customer": 7, "cents": 1250, "paid": True, "day": "2026-01-03"},
        {"id": 2, "customer": 7, "cents": 300, "paid": True, "day": "2026-01-09"},
        {"id": 3, "customer": 8, "cents": 9900, "paid": False},
        {"id": 4, "customer": 8, "cents": 40, "paid": True, "day": "2026-01-05"},
    ]


def customers():
    return [{"id": 7, "name": "Ada"}, {"id": 8, "name": "Grace"}, {"id": 9, "name": "Zoë"}]


def best(table):
    """A table arrives as a list of dicts."""
    return {"best": table[0]["name"], "table": table}
