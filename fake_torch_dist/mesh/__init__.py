"""The parts of ``DeviceMesh``: layouts, groups, checks, and meshes made from others."""
