"""Find incidents: many stations of one operator, place, service or collector that fail together.

The modules compute from votes and know neither the database nor the network: the worker feeds them, and so does
`bench/nation.py`.
"""
