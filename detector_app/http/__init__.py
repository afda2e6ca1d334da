"""The server: what is asked over HTTP and the WebSocket, by whom, and within which limits."""
