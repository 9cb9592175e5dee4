"""Find the places of files, and read and write small files safely."""
