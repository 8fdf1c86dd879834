"""How one training step and one forward pass are executed: as torch modules, or fused for the processor."""
