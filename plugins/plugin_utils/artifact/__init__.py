"""Artefacts of releases on the controller: one for each platform and minor version of Python that nodes have.

`target` says which a node needs, `build` has uv fill one and packs it, `shelf` keeps them, `given` takes one
that was built elsewhere, `supply` has whichever of these a run asks for, `since` packs what one has and an
older one has not. `module_utils/p2p_artifact.py` describes the form.
"""
