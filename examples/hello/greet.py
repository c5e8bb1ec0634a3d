def greet(names):
    return [f"hello {name}" for name in names]
