"""How a store made by an older hub becomes a current one; run by `hub.store` when it opens."""
