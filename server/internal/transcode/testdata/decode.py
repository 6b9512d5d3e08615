"""Decodes serialized messages with Python's protobuf, which refuses more than Go's does.

usage: decode.py DESCRIPTOR_SET DIRECTORY

Each file of the directory is named <message's full name>#<anything>. Prints how many were decoded; names the
files that were not, and exits with 1.
"""

import pathlib
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory


def main(descriptor_set: str, directory: str) -> int:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(descriptor_set).read_bytes())
    for file in files.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    decoded, refused = 0, 0
    for path in sorted(pathlib.Path(directory).iterdir()):
        name = path.name.split("#")[0]
        answer = factory.GetPrototype(pool.FindMessageTypeByName(name))()
        try:
            answer.ParseFromString(path.read_bytes())
            answer.SerializeToString()
            decoded += 1
        except (message.DecodeError, UnicodeDecodeError, ValueError) as error:
            print(f"{path.name}: {type(error).__name__}")
            refused += 1
    print(decoded)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
