"""Masters that are lost or moved while publishers and pools are at work."""
