"""A finished scene for other programs: a mesh as GLB, a turn as MP4, pictures of its normals. Nothing here trains."""
