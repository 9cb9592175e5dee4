"""Look up places and operators: TPS codes, regencies, PLMN codes, distances."""

from sigprobe.places.areas import Place, TableInfo, place, regency_name, table_info
from sigprobe.places.near_misses import meant_as_tps, near_misses
from sigprobe.places.operators import OPERATORS, OPERATORS_AS_OF, OperatorEntry, network_plmn, operator
from sigprobe.places.provinces import (
    PROVINCES,
    PROVINCES_AS_OF,
    Province,
    Zone,
    province,
    regency_code,
    zone,
)
from sigprobe.places.towns import lies_outside

__all__ = [
    "OPERATORS",
    "OPERATORS_AS_OF",
    "PROVINCES",
    "PROVINCES_AS_OF",
    "OperatorEntry",
    "Place",
    "Province",
    "TableInfo",
    "Zone",
    "lies_outside",
    "meant_as_tps",
    "near_misses",
    "network_plmn",
    "operator",
    "place",
    "province",
    "regency_code",
    "regency_name",
    "table_info",
    "zone",
]
