"""The promises by part; `verification.contract.promises` is the door to all of them."""
