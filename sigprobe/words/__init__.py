"""Hold every text for people: catalogues, languages, units, and the sentences of each code."""
