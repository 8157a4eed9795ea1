"""The client of an OpenAI-compatible server; the only room that knows `openai` and `httpx2`."""
