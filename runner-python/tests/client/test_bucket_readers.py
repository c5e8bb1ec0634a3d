"""Values of a run, read out of `bue bucket` by tools that know nothing of it but S3."""

import base64
import configparser
import functools
import io
import json
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List

import boto3
import botocore.exceptions
import duckdb
import duckdb_ext
import polars
import pyarrow.ipc
import pytest
from fleet import Fleet, binary

SCRIPT = """\
table:
    python
    table
    `def table():
    return [{'id': n, 'name': f'é {n}'} for n in range(20_000)]`

records:
    python
    records
    `def records():
    return [{'id': n, 'tags': [n, str(n)]} for n in range(2_000)]`

make_table = | table
make_records = | records
t = make_table()
r = make_records()
"""


class Service:
    """A fleet after a run, and what an S3 tool must know of its bucket."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet(folder)
        self.fleet.start_all()
        script = folder / "script" / "x.bue"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        results = self.bue("upload", str(script), "--wait")
        assert results
        keys = configparser.ConfigParser()
        keys.read(self.fleet.data_dir / "bucket" / "credentials")
        self.access_key = keys["default"]["aws_access_key_id"]
        self.secret_key = keys["default"]["aws_secret_access_key"]
        self.address = self.fleet.address("bucket")

    def bue(self, *words: str) -> str:
        import subprocess

        command = [str(binary()), "--data-dir", str(self.fleet.data_dir), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def client(self, secret_key: str) -> Any:
        """An S3 client."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
        )

    def keys(self) -> Dict[str, str]:
        """The key of the value of each job, by its step: `runs/<run>/<job>/<attempt>-<mark>`."""
        found = self.client(self.secret_key).list_objects_v2(Bucket="bue", Prefix="runs/")["Contents"]
        keys = sorted(entry["Key"] for entry in found if "." not in entry["Key"].rsplit("/", 1)[1])
        assert len(keys) == 2, keys
        return {"table": keys[0], "records": keys[1]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("fleet"))
    yield service
    service.fleet.stop()


def test_boto3_reads_tables_and_records(service: Service) -> None:
    client, keys = service.client(service.secret_key), service.keys()
    table = client.get_object(Bucket="bue", Key=keys["table"])["Body"].read()
    rows = pyarrow.ipc.open_stream(io.BytesIO(table)).read_all()
    assert (rows.num_rows, rows.column_names, rows["name"][19_999].as_py()) == (20_000, ["id", "name"], "é 19999")
    assert polars.read_ipc_stream(io.BytesIO(table)).height == 20_000
    records = json.loads(client.get_object(Bucket="bue", Key=keys["records"])["Body"].read())
    assert records[7] == {"id": 7, "tags": [7, "7"]}
    part = client.get_object(Bucket="bue", Key=keys["table"], Range="bytes=0-3")["Body"].read()
    assert part == table[:4]


def test_a_wrong_key_is_refused(service: Service) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        service.client("wrong").list_objects_v2(Bucket="bue")
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_duckdb_reads_records_by_httpfs(service: Service) -> None:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    folder = Path(next(iter(duckdb_ext.__path__))) / "extensions"
    (extension,) = folder.rglob("httpfs.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{service.access_key}', SECRET '{service.secret_key}', REGION 'us-east-1', "
        f"ENDPOINT '{service.address}', USE_SSL false, URL_STYLE 'path')"
    )
    url = f"s3://bue/{service.keys()['records']}"
    assert connection.execute(f"SELECT count(*), max(id) FROM read_json('{url}')").fetchone() == (2_000, 1_999)


def test_contents_are_held_to_their_md5_and_etags_are_not_taken_for_one(service: Service) -> None:
    client = service.client(service.secret_key)
    right, wrong = "1B2M2Y8AsgTpgAmY7PhCfg==", "1B2M2Y8AsgTpgAmY7PhCfw=="
    written = client.put_object(Bucket="bue", Key="md5", Body=b"", ContentMD5=right)
    with pytest.raises(botocore.exceptions.ClientError, match="Content-MD5"):
        client.put_object(Bucket="bue", Key="md5", Body=b"", ContentMD5=wrong)
    assert "-1" in written["ETag"] == client.head_object(Bucket="bue", Key="md5")["ETag"]
    other = client.put_object(Bucket="bue", Key="md5", Body=b"other")
    assert other["ETag"] != written["ETag"]
    with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="bue", Key="md5", Body=b"", IfMatch=written["ETag"])
    client.put_object(Bucket="bue", Key="md5", Body=b"", IfMatch=other["ETag"])
    with pytest.raises(botocore.exceptions.ClientError, match="behind the object, which has 0 bytes") as refused:
        client.get_object(Bucket="bue", Key="md5", Range="bytes=-1")
    assert refused.value.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */0"
    with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
        client.delete_object(Bucket="bue", Key="md5", IfMatch=other["ETag"])
    objects = [{"Key": "md5", "ETag": other["ETag"]}, {"Key": "md5", "Size": 0}]
    refused = client.delete_objects(Bucket="bue", Delete={"Objects": objects})["Errors"]
    assert [error["Code"] for error in refused] == ["PreconditionFailed", "NotImplemented"]
    client.delete_object(Bucket="bue", Key="md5", IfMatch=written["ETag"])
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchKey"):
        client.delete_object(Bucket="bue", Key="md5", IfMatch=written["ETag"])


def test_what_a_bucket_does_not_do_is_refused(service: Service) -> None:
    client, part = service.client(service.secret_key), b"x" * (5 << 20)
    of = {"Bucket": "bue", "Key": "parts"}
    upload = {**of, "UploadId": client.create_multipart_upload(**of)["UploadId"]}
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=content)["ETag"]}
        for number, content in ((1, part), (2, b"end"))
    ]
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidRange"):
        client.upload_part_copy(
            **upload, PartNumber=3, CopySource="bue/" + service.keys()["records"], CopySourceRange="bytes=0-99999999"
        )
    with pytest.raises(botocore.exceptions.ClientError, match="MalformedXML"):
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": []})
    with pytest.raises(botocore.exceptions.ClientError, match="BadDigest"):
        client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": parts}, ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT"
        )
    with pytest.raises(botocore.exceptions.ClientError, match="5242883 bytes together, not 7"):
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, MpuObjectSize=7)
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidPart"):
        missing = {"PartNumber": 3, "ETag": parts[0]["ETag"]}
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [*parts, missing]})
    for _ in range(2):
        # The answer to the first request may have been lost.
        completed = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        assert completed["ETag"] == client.head_object(**of)["ETag"]
    assert client.get_object(**of)["Body"].read() == part + b"end"
    with pytest.raises(botocore.exceptions.ClientError, match="NotImplemented"):
        client.get_object(**of, PartNumber=2)
    client.put_object(**of, Body=b"whole")
    assert client.get_object(**of, PartNumber=1)["Body"].read() == b"whole"
    client.delete_object(**of)
    assert "Status" not in client.get_bucket_versioning(Bucket="bue")


def test_an_upload_that_is_begun_with_a_checksum_of_the_whole_is_held_to_it(service: Service) -> None:
    client, of = service.client(service.secret_key), {"Bucket": "bue", "Key": "whole"}
    begun = client.create_multipart_upload(**of, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    assert begun["ChecksumType"] == "FULL_OBJECT"
    upload = {**of, "UploadId": begun["UploadId"]}
    contents = [b"x" * (5 << 20), b"end"]
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=content)["ETag"]}
        for number, content in enumerate(contents, 1)
    ]
    complete = functools.partial(client.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    with pytest.raises(botocore.exceptions.ClientError, match="BadDigest"):
        complete(ChecksumCRC32="AAAAAA==")
    for malformed in ("AAAA", "!!!"):
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidRequest"):
            complete(ChecksumCRC32=malformed)
    with pytest.raises(botocore.exceptions.ClientError, match="was begun with a checksum of the whole"):
        complete(ChecksumCRC32="AAAAAA==-2", ChecksumType="COMPOSITE")
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidRequest"):
        client.create_multipart_upload(**of, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")
    crc32 = zlib.crc32(b"".join(contents)).to_bytes(4, "big")
    complete(ChecksumCRC32=base64.b64encode(crc32).decode(), MpuObjectSize=sum(map(len, contents)))
    client.delete_object(**of)


def test_uploads_are_listed_by_the_folders_of_their_keys(service: Service) -> None:
    client = service.client(service.secret_key)
    keys = ["u/a/1", "u/a/2", "u/b", "u/c/1"]
    ids = {key: client.create_multipart_upload(Bucket="bue", Key=key)["UploadId"] for key in keys}

    def listed(**limits: Any) -> List[List[str]]:
        pages = client.get_paginator("list_multipart_uploads").paginate(Bucket="bue", Prefix="u/", **limits)
        entries = [
            [entry["Key"] for entry in page.get("Uploads", [])] + [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            for page in pages
        ]
        return [sorted(page) for page in entries]

    assert listed() == [keys]
    assert listed(Delimiter="/") == [["u/a/", "u/b", "u/c/"]]
    assert listed(Delimiter="/", MaxUploads=1) == [["u/a/"], ["u/b"], ["u/c/"]]
    assert listed(MaxUploads=3) == [keys[:3], keys[3:]]
    for key, upload in ids.items():
        client.abort_multipart_upload(Bucket="bue", Key=key, UploadId=upload)
    assert listed() == [[]]
