"""Opens a Chroma folder and uses it, in a process that may crash in its place.

A damaged index can take the process that opens it down. `hub.index` runs this file
by its path; it imports nothing of the hub. Ends with 0 when the index works.
"""

from __future__ import annotations

import sys


def probe(folder: str) -> None:
    """Count, read and search every collection."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    client = chromadb.PersistentClient(folder, settings=settings)
    for collection in client.list_collections():
        opened = client.get_collection(collection.name, embedding_function=None)
        if opened.count() == 0:
            continue
        first = opened.get(limit=1, include=["embeddings"])
        opened.query(query_embeddings=first["embeddings"], n_results=1, include=["distances"])


if __name__ == "__main__":
    probe(sys.argv[1])
