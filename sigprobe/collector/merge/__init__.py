"""Take over what another collector has and this one lacks."""
