"""From raw head maps to boxes: levels, codecs, and suppression."""
