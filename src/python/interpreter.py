"""Tells where an interpreter is, what it is, and what it must read to run."""
import json
import os
import sys
import sysconfig

libraries = [*sys.path, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.join(sys.base_prefix, "lib")]
wanted = [sys.executable, os.path.join(sys.prefix, "pyvenv.cfg"), *libraries]
readable = sorted({os.path.realpath(path) for path in wanted if os.path.exists(path)})
print(json.dumps({"executable": sys.executable, "version": list(sys.version_info[:3]), "readable": readable}))
