"""One call: routing, access, header policy, forwarding, response.

Both sides of the wire meet here and nowhere else.
"""
