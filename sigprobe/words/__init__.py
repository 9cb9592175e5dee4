"""Hold every text for people: catalogues, languages, units, and the messages of each code."""
