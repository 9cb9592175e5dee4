"""Look names up at one or several resolvers, and compare their answers."""
