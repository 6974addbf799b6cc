"""What a gfwd that runs answers over the network: metrics for Prometheus, where the operator asks for it.

http.py    the bytes of a request → what is asked; an answer → its bytes
server.py  connections, many of which may be slow or hostile
metrics.py the listener: where it waits, and what it shows
exposed.py how a gfwd stands → samples of all metrics
"""
