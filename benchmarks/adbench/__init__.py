"""Three objectives of ADBench as ordinary Numba loops.

Srajer, Kukelova, Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some
problems in computer vision and machine learning", Optimization Methods and Software 33 (2018).
"""
