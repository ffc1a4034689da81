"""Open-loop load on Locust, and the gate that judges it. See DESIGN section 9 for the why."""
