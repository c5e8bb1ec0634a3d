"""Found by every step because the script's folder can be imported from."""

import csv
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"


def read_table(name):
    with open(DATA / name, newline="", encoding="utf-8") as file:
        return [{"product": row["product"], "cents": int(row["cents"])} for row in csv.DictReader(file)]
