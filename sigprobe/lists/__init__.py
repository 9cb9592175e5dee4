"""Read and write lists that users supply as files: their TPS, and points with a signal."""

from sigprobe.lists.points import read_points
from sigprobe.lists.problems import Fault, ListError
from sigprobe.lists.store import keep, kept_points, kept_tps, points_file, registered, tps_file
from sigprobe.lists.tps import Station, read_tps

__all__ = [
    "Fault",
    "ListError",
    "Station",
    "keep",
    "kept_points",
    "kept_tps",
    "points_file",
    "read_points",
    "read_tps",
    "registered",
    "tps_file",
]
