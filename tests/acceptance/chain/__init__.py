"""Real LLM proxies between two legs of the relay's, and real agents in front of them."""
