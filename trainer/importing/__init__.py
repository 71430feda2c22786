"""Makes artifacts of published networks: reads their weights, and states what their publishers say of them."""
