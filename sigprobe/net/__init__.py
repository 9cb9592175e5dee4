"""Reach the network: sockets, HTTP, ICMP, routes, interfaces, time and data limits."""
