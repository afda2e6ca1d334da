"""SPYv4 on cameras, files and the network: sources, live view, server."""
