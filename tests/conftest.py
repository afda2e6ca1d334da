import spyv4  # noqa: F401 - before any test imports torch: it settles how torch's threads wait
