from hypothesis import settings

# A busy machine is no failure, and the same commit gives the same answer everywhere.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")
