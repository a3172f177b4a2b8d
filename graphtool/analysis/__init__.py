"""What a graph costs: sizes, multiply-adds, bytes, memory, and what a device's data sheet makes of them. Floor 3."""
