"""Instance vectors: Milvus collections, generations of them, and the alias that names the live one."""
