"""The bytes of a sweep directory: the interface of a file system, the local one, and helpers for every module.

To add a file system, put a class with the methods of `FileSystem` into a module of this folder, register it under its
scheme, and import the module here. `sweep_path` gives paths of it to everything else.
"""

from lop_sweep.storage.filesystem.faults import FAULTS, fault_point
from lop_sweep.storage.filesystem.interface import (
    DIRECTORY,
    READERS,
    FileSystem,
    check_writable,
    filesystem_of,
    is_local,
    is_text,
    local_path,
    names_in,
    quarantine,
    reading,
    sweep_path,
    writable_folder,
    write_bytes,
    writing,
)
from lop_sweep.storage.filesystem.local import LocalFileSystem
from lop_sweep.storage.filesystem.object_store import ObjectStore

__all__ = [
    "DIRECTORY",
    "FAULTS",
    "READERS",
    "FileSystem",
    "LocalFileSystem",
    "ObjectStore",
    "check_writable",
    "fault_point",
    "filesystem_of",
    "is_local",
    "is_text",
    "local_path",
    "names_in",
    "quarantine",
    "reading",
    "sweep_path",
    "writable_folder",
    "write_bytes",
    "writing",
]
