"""Guarded queries: documents, never SQL, judged by named rules and run read-only under the caller's own rights."""
