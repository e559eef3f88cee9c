"""The stream: faces as lines of JSON over TCP; its protocol, server and client. Described in docs/stream.md."""
