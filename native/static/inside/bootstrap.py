"""The static file's import system; it stands where CPython looks for importlib's own.

A module is frozen into the file, or built into it, or it does not exist.  There is no search path, no
hook, no cache and no lock, for there are no threads.  The names with an underscore are those that CPython calls.
"""

BuiltinImporter = None  # the loader of __main__


def _install(sys, _imp):
    """Take what the import system needs; called once, before anything can be imported."""
    global imp, modules, Module, Spec, specs
    imp = _imp
    modules = sys.modules
    Module = type(sys)
    Spec = type(sys.implementation)
    # Each import statement asks a module's __spec__ for _initializing, and the module itself for __path__; without
    # an answer an AttributeError is made and thrown away, at the price of ten answers.
    specs = {}
    sys.__spec__ = spec("")


def _install_external_importers():
    """Add nothing: no module comes from a file."""


def _find_and_load(name, import_):
    """Import what is not in sys.modules yet, its parents first."""
    parent, _, child = name.rpartition(".")
    if parent and parent not in modules:
        import_(parent)
        if name in modules:
            return modules[name]
    try:
        module = run(name) if imp.is_frozen(name) else initialise(name)
    except BaseException:
        modules.pop(name, None)
        raise
    if parent:
        setattr(modules[parent], child, module)
    return module


def spec(package):
    """Return the one spec of all modules of a package; import statements at run time write to its reference count."""
    if package not in specs:
        specs[package] = Spec(_initializing=False, parent=package)
    return specs[package]


def run(name):
    """Make a module from its frozen code."""
    module = modules[name] = Module(name)
    module.__package__ = name if imp.is_frozen_package(name) else name.rpartition(".")[0]
    module.__spec__ = spec(module.__package__)
    module.__path__ = ()
    exec(imp.get_frozen_object(name), module.__dict__)
    return module


def initialise(name):
    """Make a module that is built in."""
    module = imp.create_builtin(Spec(name=name))
    if module is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    modules[name] = module
    imp.exec_builtin(module)
    module.__spec__ = spec("")
    module.__path__ = ()
    return module


def _handle_fromlist(package, names, import_):
    """Import the modules among the names that are asked of a package."""
    for name in names:
        if name not in package.__dict__:  # hasattr() would make an AttributeError, too
            wanted = f"{package.__name__}.{name}"
            try:
                import_(wanted)
            except ModuleNotFoundError as error:  # the statement itself says what it lacks
                if error.name != wanted:
                    raise
    return package


def _lock_unlock_module(name):
    """Wait for another thread's import; there is none."""


def _module_repr(module):
    """Stand in for importlib's."""
    return f"<module {module.__name__!r}>"
