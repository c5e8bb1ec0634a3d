"""What a table looks like to a Python step in each of the forms that it can ask for."""

import datetime
import decimal
import json
import uuid

import numpy
import pandas
import polars
import pyarrow


def compare(rows, frame: pandas.DataFrame, other: polars.DataFrame, table: "pyarrow.Table"):
    """For each column its type, the value of its first row in plain records, and in which forms it is another value.

    The second row has nothing in it.
    """
    answer = []
    for name in table.column_names:
        values = {
            "pandas": list(frame[name]),
            "polars": other[name].to_arrow().to_pylist(),
            "pyarrow": table[name].to_pylist(),
        }
        assert len(rows) == 2 and rows[1][name] is None, (name, rows)
        assert all(is_missing(second) for _, second in values.values()), (name, values)
        others = {form: str(first) for form, (first, _) in values.items() if not is_same(rows[0][name], first)}
        answer.append([name, str(table.schema.field(name).type), rows[0][name], others])
    return answer


def is_missing(value):
    return value is None or value is pandas.NaT or value is pandas.NA or value != value


def is_same(plain, value):
    """Whether a value of some form is the one that stands in plain records."""
    if isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, numpy.ndarray):
        value = value.tolist()
    if isinstance(value, datetime.datetime):
        return type(plain) is str and pandas.Timestamp(plain) == pandas.Timestamp(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return plain == value.isoformat()
    if isinstance(value, bytes):
        import base64

        return plain == base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return plain == format(value, "f")
    if isinstance(value, uuid.UUID):
        return plain == str(value)
    if isinstance(value, str) and type(plain) in (list, dict):
        # JSON is text in these forms.
        return plain == json.loads(value)
    if isinstance(value, list) and type(plain) is dict:
        # A map is a list of pairs.
        return is_same(plain, dict(value))
    if isinstance(value, list):
        return type(plain) is list and len(plain) == len(value) and all(map(is_same, plain, value))
    if isinstance(value, dict):
        return (
            type(plain) is dict and list(plain) == list(value) and all(is_same(plain[key], value[key]) for key in value)
        )
    if value is None or value != value:
        return plain is None
    return type(plain) is type(value) and plain == value


def keep(row):
    return row
