"""The orders of the north, from a data file of the bundle."""

from tools.tables import read_table


def orders():
    return read_table("north.csv")
