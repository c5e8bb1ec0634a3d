"""Reaches services of this machine and of the network."""

import errno
import os
import socket
import urllib.error
import urllib.request

from attack import TARGETS, attack


@attack
def database_by_its_socket():
    client = socket.socket(socket.AF_UNIX)
    client.connect(TARGETS["socket"])
    return client.recv(100)


@attack(refusals=(errno.ENOENT,))
def path_of_a_database():
    return os.stat(TARGETS["socket"])


@attack
def abstract_socket():
    client = socket.socket(socket.AF_UNIX)
    client.connect("\0" + TARGETS["abstract"])
    return client.recv(100)


@attack
def packets():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    return "opened"


@attack
def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "opened"


@attack
def multipath():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    return "opened"


@attack
def ping():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    return "opened"


@attack
def netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    return "opened"


@attack
def kernel_cryptography():
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
    return "opened"


@attack
def virtual_machine_socket():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    return "opened"


@attack
def hub_without_a_token():
    try:
        with urllib.request.urlopen(f"http://{TARGETS['hub']}/v1/status", timeout=10) as answer:
            return answer.read(100)
    except urllib.error.HTTPError as error:
        return error.code not in (401, 403) and error.code


def _connect(address):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5):
        return "connected"


@attack(refusals=(errno.ENETUNREACH, errno.ECONNREFUSED, errno.EHOSTUNREACH))
def hub_without_a_network():
    return _connect(TARGETS["hub"])


@attack(refusals=(errno.ENETUNREACH, errno.ECONNREFUSED, errno.EHOSTUNREACH))
def bucket_without_a_network():
    return _connect(TARGETS["bucket"])


@attack(refusals=(errno.ENETUNREACH, errno.ECONNREFUSED, errno.EHOSTUNREACH))
def datagram_without_a_network():
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("192.0.2.1", 53))
    return client.send(b"x")
