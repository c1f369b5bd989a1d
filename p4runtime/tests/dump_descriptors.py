"""Prints the protobuf descriptors of PyPI's `p4runtime` package.

Usage: dump_descriptors.py DIRECTORY

The packages are looked for in DIRECTORY and installed into it with pip when they are not there.
A serialized google.protobuf.FileDescriptorSet goes to standard output. Exit code 77: the packages
cannot be had on this machine.
"""

import os
import subprocess
import sys

# The package's generated code is older than the interface that protobuf 4 and later insist on.
PACKAGES = ["p4runtime==1.6.0", "protobuf==3.20.3", "googleapis-common-protos==1.57.1"]
UNAVAILABLE = 77


def files():
    from google.rpc import status_pb2
    from p4.config.v1 import p4info_pb2, p4types_pb2
    from p4.v1 import p4data_pb2, p4runtime_pb2

    return [status_pb2, p4types_pb2, p4info_pb2, p4data_pb2, p4runtime_pb2]


def install(directory):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", directory, *PACKAGES]
    result = subprocess.run(command, stdout=sys.stderr, check=False)
    if result.returncode != 0:
        sys.exit(UNAVAILABLE)


def main():
    directory = os.path.abspath(sys.argv[1])
    # Without an installed marker the directory may hold half of an installation.
    marker = os.path.join(directory, "installed")
    if not os.path.exists(marker):
        install(directory)
        with open(marker, "w", encoding="ascii") as out:
            out.write("\n".join(PACKAGES))
    sys.path.insert(0, directory)
    modules = files()

    from google.protobuf import descriptor_pb2

    found = descriptor_pb2.FileDescriptorSet()
    for module in modules:
        module.DESCRIPTOR.CopyToProto(found.file.add())
    sys.stdout.buffer.write(found.SerializeToString())


main()
