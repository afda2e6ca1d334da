"""Very many pictures and clips into Parquet files, part by part, on one machine or over Ray."""
