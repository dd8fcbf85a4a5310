"""Review: letters to customers, their appeals, what people rule, and the figures of it."""
