"""What is remembered: one SQLite database, read and written by one thread. Nothing here loads sqlite3 until a store is
opened."""
