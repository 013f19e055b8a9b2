"""Bulk annotation: many videos through the steps on Ray Data, one row for each (video, question), nothing lost."""
