"""The page of a campaign: everything on one time axis, one offline file."""
