"""Streams and uploads from both ends: one process is every agent, and the upstream as well.

So one clock stamps an event when it is sent and when it is read, nothing has to be passed
between a sender and a reader, and neither waits for the other to be scheduled. Raw sockets
and one epoll loop: it must never be what others wait for.
"""
