"""The paper's tasks on sequences."""
